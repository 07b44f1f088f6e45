# Graph convolutions on a dense normalised adjacency matrix, in the style of the pygcn course scripts.
import math
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.nn.modules.module import Module
from torch.nn.parameter import Parameter

np.random.seed(42)
torch.manual_seed(42)
use_cuda = torch.cuda.is_available() and False
if use_cuda:
    torch.cuda.manual_seed(42)


def load_data(nodes=60, classes=3, features=12):
    labels = np.arange(nodes) % classes
    prob = np.where(labels[:, None] == labels[None], 0.35, 0.04)
    adj = np.triu(np.random.rand(nodes, nodes) < prob, 1).astype(np.float32)
    adj = adj + adj.T + np.eye(nodes, dtype=np.float32)
    adj = adj / adj.sum(1, keepdims=True)
    x = (np.random.rand(nodes, features) < 0.2) + 0.5 * np.eye(features)[labels]
    order = np.random.permutation(nodes)
    return (torch.FloatTensor(adj), torch.FloatTensor(np.array(x)), torch.LongTensor(labels),
            torch.LongTensor(order[:15]), torch.LongTensor(order[15:]))


class GraphConvolution(Module):
    """Simple GCN layer (Kipf and Welling 2017)."""

    def __init__(self, in_features, out_features, bias=True):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(torch.FloatTensor(in_features, out_features))
        if bias:
            self.bias = Parameter(torch.FloatTensor(out_features))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        stdv = 1. / math.sqrt(self.weight.size(1))
        self.weight.data.uniform_(-stdv, stdv)
        if self.bias is not None:
            self.bias.data.uniform_(-stdv, stdv)

    def forward(self, input, adj):
        support = torch.mm(input, self.weight)
        output = torch.spmm(adj, support)
        return output + self.bias if self.bias is not None else output

    def __repr__(self):
        return self.__class__.__name__ + " (" + str(self.in_features) + " -> " + str(self.out_features) + ")"


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super().__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        return F.log_softmax(self.gc2(x, adj), dim=1)


def accuracy(output, labels):
    preds = output.max(1)[1].type_as(labels)
    correct = preds.eq(labels).double()
    return correct.sum() / len(labels)


adj, features, labels, idx_train, idx_test = load_data()
model = GCN(nfeat=features.shape[1], nhid=16, nclass=labels.max().item() + 1, dropout=0.5)
print(model)
optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
if use_cuda:
    model.cuda()
    features = features.cuda()
start = time.time()
for epoch in range(20):
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss_train = F.nll_loss(output[idx_train], labels[idx_train])
    acc_train = accuracy(output[idx_train], labels[idx_train])
    loss_train.backward()
    optimizer.step()
    model.eval()
    output = model(features, adj)
    loss_val = F.nll_loss(output[idx_test], labels[idx_test])
    if epoch % 5 == 0:
        print(f"Epoch: {epoch + 1:04d}", f"loss_train: {loss_train.item():.4f}", f"acc_train: {acc_train.item():.4f}",
              f"loss_val: {loss_val.item():.4f}")
assert time.time() - start < 100

# message passing over a list of edges, with the tools of torch_scatter-like code
row, col = (adj > 0).nonzero(as_tuple=True)
degree = torch.zeros(len(labels)).scatter_add_(0, row, torch.ones(row.size(0)))
summed = torch.zeros_like(features).index_add_(0, row, features[col])
mean = summed / degree.clamp(min=1).unsqueeze(-1)
print("edges", row.numel(), "match", torch.allclose(mean, adj @ features, atol=1e-5))
