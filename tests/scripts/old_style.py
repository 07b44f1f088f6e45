# Code as it was written for PyTorch 0.4: Variables, typed tensors, size_average, decay by hand, initialisation by name.
from __future__ import print_function

import numpy as np
import torch
import torch.backends.cudnn as cudnn
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.parallel
import torch.optim as optim
import torch.utils.data
from torch.autograd import Variable
from torch.nn import init

cudnn.benchmark = True
np.random.seed(999)
torch.manual_seed(999)
torch.cuda.manual_seed_all(999)
use_gpu = torch.cuda.is_available() and False
FloatTensor = torch.cuda.FloatTensor if use_gpu else torch.FloatTensor


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        m.weight.data.normal_(0.0, 0.05)
    elif classname.find("BatchNorm") != -1:
        m.weight.data.normal_(1.0, 0.02)
        m.bias.data.fill_(0)
    elif classname.find("Linear") != -1:
        init.xavier_uniform_(m.weight)
        m.bias.data.zero_()


class Pictures(torch.utils.data.Dataset):
    def __init__(self, n):
        self.labels = np.random.randint(0, 2, n)
        self.images = np.random.randn(n, 3, 8, 8) + self.labels[:, None, None, None] * 0.7

    def __getitem__(self, index):
        return torch.from_numpy(self.images[index]).float(), int(self.labels[index])

    def __len__(self):
        return len(self.labels)


class Discriminator(nn.Module):
    def __init__(self, ngpu=1):
        super(Discriminator, self).__init__()
        self.ngpu = ngpu
        self.main = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
                                  nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.2, True))
        self.classifier = nn.Linear(64, 1)

    def forward(self, input):
        if input.is_cuda and self.ngpu > 1:
            output = nn.parallel.data_parallel(self.main, input, range(self.ngpu))
        else:
            output = self.main(input)
        return F.sigmoid(self.classifier(output.view(input.size(0), -1))).view(-1, 1).squeeze(1)


def adjust_learning_rate(optimizer, epoch, lr=0.01):
    for param_group in optimizer.param_groups:
        param_group["lr"] = lr * (0.1 ** (epoch // 2))


netD = Discriminator()
netD.apply(weights_init)
netD = torch.nn.DataParallel(netD) if False else netD
loader = torch.utils.data.DataLoader(Pictures(64), batch_size=16, shuffle=True, num_workers=0)
criterion = nn.BCELoss()
mse = nn.MSELoss(reduction="mean")
optimizer = optim.Adam(netD.parameters(), lr=0.01, betas=(0.5, 0.999))
label = FloatTensor(16)
for epoch in range(3):
    adjust_learning_rate(optimizer, epoch)
    running, right, total = 0.0, 0, 0
    for _i, (inputs, labels) in enumerate(loader, 0):
        inputs, labels = Variable(inputs), Variable(labels)
        label.resize_(labels.size(0)).copy_(labels.type(FloatTensor))
        labelv = Variable(label)
        netD.zero_grad()
        outputs = netD(inputs)
        loss = criterion(outputs, labelv) + 0.1 * mse(outputs, labelv)
        loss.backward()
        optimizer.step()
        running += loss.data.item()
        predicted = torch.gt(outputs.data, 0.5).type(torch.LongTensor)
        total += labels.size(0)
        right += (predicted == labels.data).sum()
    print("[%d] loss: %.5f accuracy: %d / %d" % (epoch + 1, running / len(loader), right, total))
z = Variable(torch.FloatTensor(np.random.normal(0, 1, (2, 5))))
print(z.type(), z.size(), torch.LongTensor([1, 2]).type(), torch.ByteTensor([1]).type(), z.data.new(3).size())
one_hot = torch.zeros(3, 4).scatter_(1, torch.LongTensor([[1], [3], [0]]), 1)
print(one_hot, torch.max(one_hot, 1)[1].numpy())
